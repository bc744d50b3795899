"""The mailbox domains that most people have, and real ones that look like them. Data.

A slip of the finger is told by what it is near to. What this gateway delivers to tells that best, but a new one has delivered
nothing, so these are known from the start: providers of mailboxes to anybody, in the countries whose languages the preference
page speaks and their neighbours, as their own sign-up pages name them. A provider stands here if a list of some thousand
consumers' addresses is likely to have it; small ones would only be something to be wrongly near to.

GIANTS are had by so many that even two slips mean them. LARGE ones are meant by one slip. REAL ones are near to one of both and
exist: they are never a slip, and admins add to them in `known` (recipients.toml).
"""


def _domains(text: str) -> frozenset[str]:
    return frozenset(name for line in text.splitlines() if not line.startswith("#") for name in line.split())


GIANTS = _domains("""
gmail.com googlemail.com yahoo.com hotmail.com outlook.com icloud.com live.com aol.com msn.com hotmail.co.uk
yahoo.co.uk hotmail.fr yahoo.fr hotmail.de yahoo.de hotmail.it yahoo.it hotmail.es yahoo.es yahoo.com.br
hotmail.com.br yahoo.co.in yahoo.co.jp yahoo.com.mx
""")
# Who has mailboxes under one domain alone: the same name under another ending is nobody's.
ALONE = frozenset({"gmail.com", "icloud.com"})

LARGE = _domains("""
# worldwide
ymail.com rocketmail.com protonmail.com proton.me fastmail.com zoho.com gmx.com mail.com yandex.com hey.com pm.me
me.com mac.com tutanota.com hushmail.com aim.com windowslive.com passport.com inbox.com
# Microsoft and Yahoo by country
hotmail.ca hotmail.be hotmail.nl hotmail.ch hotmail.at hotmail.se hotmail.dk hotmail.no hotmail.fi hotmail.gr
hotmail.pt hotmail.com.ar hotmail.com.mx hotmail.com.au hotmail.co.il hotmail.co.jp hotmail.com.tr hotmail.cl
hotmail.cz hotmail.hu live.co.uk live.fr live.de live.it live.nl live.be live.ca live.se live.dk live.no live.at
live.ie live.com.au live.com.mx live.com.pt live.com.ar live.cl live.ru live.jp outlook.fr outlook.de outlook.es
outlook.it outlook.pt outlook.be outlook.at outlook.dk outlook.ie outlook.jp outlook.in outlook.cl outlook.cz
outlook.com.br outlook.com.au outlook.co.il outlook.com.ar outlook.com.tr msn.cn outlook.co.id outlook.kr outlook.sa
outlook.my outlook.sg outlook.ph outlook.hu yahoo.ca yahoo.ie yahoo.in yahoo.gr yahoo.pl yahoo.ro yahoo.se yahoo.dk
yahoo.no yahoo.at yahoo.be yahoo.ch yahoo.com.au yahoo.co.nz yahoo.com.ar yahoo.com.sg yahoo.com.hk yahoo.com.tw
yahoo.com.ph yahoo.co.id yahoo.com.vn yahoo.co.za yahoo.com.my yahoo.co.kr yahoo.com.tr yahoo.co.il yahoo.cl
yahoo.com.co yahoo.com.pe yahoo.com.ve yahoo.nl yahoo.pt yahoo.fi yahoo.hu yahoo.cz yahoo.cn yahoo.com.cn yahoo.ne.jp
aol.de aol.fr aol.co.uk aol.it googlemail.de
# the United States and Canada
comcast.net verizon.net att.net sbcglobal.net bellsouth.net charter.net cox.net earthlink.net optonline.net
roadrunner.com rr.com frontier.com frontiernet.net windstream.net centurylink.net juno.com netzero.net netscape.net
mindspring.com embarqmail.com suddenlink.net cableone.net rogers.com shaw.ca telus.net sympatico.ca videotron.ca
bell.net
# Britain, Ireland, Australia, New Zealand, South Africa
btinternet.com btopenworld.com sky.com virginmedia.com ntlworld.com blueyonder.co.uk talktalk.net tiscali.co.uk
bigpond.com bigpond.net.au optusnet.com.au tpg.com.au xtra.co.nz mweb.co.za telkomsa.net eircom.net
# German
gmx.de gmx.net gmx.at gmx.ch web.de t-online.de freenet.de arcor.de bluewin.ch mailbox.org posteo.de aon.at chello.at
hispeed.ch kabelmail.de online.de 1und1.de ewetel.net email.de
# French, Belgian, Dutch
orange.fr wanadoo.fr free.fr sfr.fr laposte.net bbox.fr neuf.fr numericable.fr skynet.be telenet.be proximus.be voo.be
ziggo.nl kpnmail.nl planet.nl xs4all.nl home.nl chello.nl hetnet.nl upcmail.nl casema.nl
# Italian, Spanish, Portuguese
libero.it virgilio.it alice.it tin.it tiscali.it fastwebnet.it inwind.it telefonica.net terra.es ono.com sapo.pt
uol.com.br bol.com.br terra.com.br ig.com.br globo.com globomail.com oi.com.br prodigy.net.mx
# Israel
walla.co.il walla.com bezeqint.net netvision.net.il 012.net.il 013.net.il zahav.net.il smile.net.il barak.net.il
# Russian, Ukrainian, Polish, Czech, Hungarian, Romanian, Bulgarian, Greek, Turkish, Nordic
mail.ru yandex.ru rambler.ru bk.ru list.ru inbox.ru ya.ru ukr.net i.ua meta.ua wp.pl o2.pl onet.pl interia.pl op.pl
gazeta.pl seznam.cz centrum.cz email.cz volny.cz azet.sk centrum.sk zoznam.sk freemail.hu citromail.hu t-online.hu
abv.bg mynet.com otenet.gr forthnet.gr telia.com online.no broadpark.no mail.dk inbox.lv
# Arabic, India, Asia
maktoob.com rediffmail.com sify.com qq.com foxmail.com 163.com 126.com sina.com sina.cn sohu.com yeah.net aliyun.com
139.com 189.cn naver.com hanmail.net daum.net nate.com docomo.ne.jp ezweb.ne.jp softbank.ne.jp au.com pchome.com.tw
hinet.net singnet.com.sg
# forwarding and family
privaterelay.appleid.com duck.com mozmail.com simplelogin.com
""")

REAL = _domains("""
mailo.com mailo.fr y7mail.com email.com e-mail.com mail.de mail.ee mail.bg mail.be mail.gr mail.pt mail.ch mail.org
mail.nu email.it email.si email.ua gmx.fr gmx.es gmx.it gmx.li gmx.us gmx.info gmx.biz gmx.tm gmx.co.uk gmail.ru
gmail.pl amail.com bmail.com cmail.com dmail.com emails.com fmail.com hmail.com imail.com jmail.com kmail.com
omail.com pmail.com smail.com tmail.com umail.com vmail.com wmail.com xmail.com zmail.com imail.ru inmail.com
gemail.net gotmail.com gotmail.org hotmail.ru hotmail.kz hotmail.kg hotmail.lt hotmail.lv hotmail.ee hotmail.sk
hotmail.rs hotmail.ie hotmail.co.nz hotmail.co.za hotmail.co.th hotmail.co.kr hotmail.co.id hotmail.com.hk
hotmail.com.tw hotmail.com.vn hotmail.my hotmail.sg hotmail.ph hotmail.jp hotmail.la hotpost.com postmail.com
potmail.com yahoo.net yahoo.org yahoo.jp yahoo.lt yahoo.lv yahoo.ee yahoo.sk yahoo.si yahoo.bg yahoo.rs yahoo.ae
yahoo.ru yahoo.com.ua yahoo.co.th yahoo.co.hu yahoo.com.hr yahoomail.com ygm.com yanoo.com outlook.lv outlook.sk
outlook.bg outlook.ro outlook.si outlook.hr outlook.la outlook.pk outlook.co.th outlook.com.gr outlook.com.hr
outlook.com.vn outlook.co.nz outlook.com.pe outlook.com.ua outlook.mx outlook.pa outlook.ec outlook.uy live.cn live.hk
live.in live.ph live.fi live.ch live.com.my live.com.sg live.com.ph live.com.pk live.com.ve live.com.co live.com.pe
live.co.za live.co.kr live.co.in life.com love.com line.me alive.com five.com olive.com lave.com aol.at aol.be aol.cz
aol.dk aol.es aol.fi aol.hk aol.in aol.jp aol.kr aol.nl aol.pl aol.ru aol.se aol.tw aol.com.au aol.com.br aol.com.mx
aol.com.ar aol.co.nz aol.net aon.com mac.net msn.co.uk msn.de msn.nl ionos.de ionos.com zoho.eu zoho.in zohomail.com
zohomail.eu fastmail.fm fastmail.net fastmail.org fastmail.us fastmail.to proton.com protonmail.ch tutanota.de tuta.io
tuta.com yandex.by yandex.kz yandex.ua yandex.net online.fr online.ie hush.com hush.ai mailbox.com mailbox.hu
mailfence.com posteo.net posteo.at posteo.eu freemail.com freemail.gr freemail.it inbox.eu inbox.lt inbox.com.lv
index.hu onet.eu onet.com.pl interia.eu interia.com poczta.pl vp.pl tlen.pl wp.eu free.com free.nl orange.pl orange.es
orange.net orange.com oranges.com home.com home.se home.ro cox.com comcast.com att.com verizon.com charter.com
frontier.net shaw.com bell.com bell.ca bellnet.ca rogers.ca telus.com sky.it bt.com tiscali.be tiscali.de tiscali.nl
tiscali.fr tiscali.es tiscali.cz libero.com terra.com terra.cl tim.it tim.com.br telenor.no telia.se telenet.com
telnet.be qq.cn sina.com.cn sina.net tom.com 188.com 21cn.com vip.163.com 263.net naver.net nate.net daum.com sapo.com
walla.net zoom.com zoho.com.cn skynet.com web.com weg.de free-mail.de apple.com cloud.com icloud.cn
""")
