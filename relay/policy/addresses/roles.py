"""Addresses of a task instead of a person: who reads them changes, and nobody of them has asked for marketing. Pure.

RFC 2142 names some for every domain; the others are what sign-up forms and lists are found to hold of them.
"""

# RFC 2142 3 to 7, and RFC 5321 4.5.1 (postmaster)
_OF_RFC = (
    "info marketing sales support abuse noc security postmaster hostmaster usenet news webmaster www uucp ftp list"
)
_OTHERS = (
    "admin administrator root sysadmin it helpdesk help service services customerservice customer-service customercare care "
    "contact contactus contact-us enquiries enquiry inquiries inquiry office reception mail mailbox email post team all staff "
    "everyone hr jobs job careers career recruiting press media pr billing accounts accounting accounts-payable ap ar finance "
    "invoices invoice payments orders order shop store legal privacy dpo compliance feedback hello no-reply noreply do-not-reply "
    "donotreply mailer-daemon nobody spam dns devnull dev ops devops tech technical webmaster-request host nic registrar "
    "newsletter newsletters unsubscribe subscribe kontakt kundenservice buchhaltung rechnung bewerbung ventas contacto soporte "
    "contabilidad administracion commercial comptabilite vendite amministrazione assistenza sekretariat biuro zakaz"
)
ROLES = frozenset((_OF_RFC + " " + _OTHERS).split())


def is_role(local: str) -> bool:
    """`local`: what stands before the @. A tag behind + does not make a person of it."""
    return local.lower().partition("+")[0] in ROLES
