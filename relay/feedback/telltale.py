"""The words by which a mail shows what it is: who sends it, what it is called, what it tells. Pure."""

import re

# Who sends reports, by address or name in From.
DAEMON = re.compile(
    r"mailer[-_. ]?daemon|post[-_]?master|mail[-_. ]?(?:delivery|system|admin|server|gateway)|"
    r"deliver[y]?[-_. ]?(?:system|sub|status)|system[-_. ]?admin|mmdf|mail[-_]?router|bounces?@|<>|"
    r"no-?reply@.*(?:gateway|mx)|smtp|daemon|\bndr\b|\bmta\b|internet mail|\buucp",
    re.I,
)

# What reports are called.
SUBJECT = re.compile(
    r"undeliver|non[- ]?deliver|not delivered|un(?:able|successful)\b.{0,20}\b(?:to )?deliver|"
    r"deliver[yi]\w*\b.{0,40}(?:fail|status|problem|report|notif|error|delay|unsuccess)|"
    r"fail\w*\b.{0,25}(?:deliver|notice|mail)|failure notice|return(?:ed|ing)\b.{0,20}(?:mail|message|"
    r"to sender)|mail\b.{0,20}(?:error|fail)|message\b.{0,20}(?:error|fail)|could ?n[o']t be delivered|bounce|"
    r"\bndr\b|delayed|not been delivered|mail system error|user unknown|rejected (?:mail|message)|"
    r"error sending your mail|processing error|permanent error|status notif|mail delivery|warning: could not|"
    r"not member|unknown user|nicht zugestellt|unzustellbar|onbestelbaar|non remis|non recapitabile|"
    r"no se puede entregar|não entregue|недоставлен|не доставлено|配信不能|配信できません|退信|投递失败|echec de la remise|"
    r"échec",
    re.I,
)

# That something failed.
FAILED = re.compile(
    r"\b(?:nicht|niet|impossible|impossibile|pas pu|n'a pas|échec|não|no (?:se )?pu[de]|no (?:fue|ha sido)|non è stat)\b|"
    r"\bno pud|не (?:доставл|может|удалось|найден)|無法|无法|できません|"
    r"\b(?:fail|unable|undeliver|not (?:be |been )?(?:able|deliver|accept|reach|found|exist|a member|sent)|"
    r"could(?: not|n't)|cannot|can't|reject|returned?\b|refus|bounc|unknown|invalid|problem|error|"
    r"didn't reach|wasn't|was not|may not|no such|over quota|blocked|exceed|disabled|no longer)|"
    r"\b[45]\d\d[ -]|\b[45]\.\d\.\d",
    re.I,
)

# That it has not failed yet.
DELAYED = re.compile(
    r"has(?: not)? (?:yet )?been (?:delayed|postponed)|not yet been delivered|has not been delivered (?:yet|"
    r"after|for)|will (?:be )?(?:continue|keep|retr|try|attempt)\w*\b.{0,40}(?:deliver|retr|try|day|hour|"
    r"next)|still being retried|(?:this is (?:just )?an?|just a) (?:warning|advisory)|"
    r"warning(?: message)? only|you do not need to resend|delivery (?:is |has been |was )?delayed|"
    r"will be retried|delayed mail|advisory-only|temporarily deferred, will|message delayed|"
    r"delivery attempts will continue|enqueued and undeliverable|could not be delivered for [\d.]+ (?:hour|"
    r"minute|day)s?.{0,40}will",
    re.I,
)

DELAY_SUBJECT = re.compile(
    r"delayed|\(delay\)|\bwarning\b|still being retried|not yet|verzögert|retard[ée]",
    re.I,
)

# That all went well; together with such a subject only.
DELIVERED = re.compile(
    r"\b(?:was|were|been|have been) (?:successfully )?(?:delivered|relayed|transferred)\b|"
    r"successful (?:mail )?delivery|delivered successfully|delivery to .{0,80}was successful",
    re.I,
)

SUCCESS_SUBJECT = re.compile(
    r"(?<!un)success|(?<!not )(?<!be )\b(?:delivered|relayed)|\(relay\)",
    re.I,
)

# What auto-replies are called.
AUTO_SUBJECT = re.compile(
    r"^(?:re: ?)?(?:out of (?:the )?office|auto(?:matic|mated)?[- ]?(?:re(?:ply|sponse)|response)|autoreply|"
    r"autosvar|vacation|on vacation|away from|abwesen|automatische antwort|réponse automatique|"
    r"reponse automatique|respuesta automática|risposta automatica|resposta automática|автоответ|自動返信|自動応答|"
    r"自动回复|תשובה אוטומטית)|out of office|auto.?reply\b|auto.?response\b",
    re.I,
)
