"""Words that say how a sentence is built and not what it is about, by language.

A title neither begins nor ends with one of them, unless a message has hardly other words.
"""

_ENGLISH = """
a about above after again against all almost also although always am among an and another any
anybody anyone anything are around as at away be because been before being below between both but
by can can't cannot could couldn't did didn't do does doesn't doing don't done down during each
eight either else enough especially even ever every everyone everything except few five for four
from get gets getting give gives go goes going gonna got had has hasn't have haven't having he
hello hence her here hers hey hi him his how however i i'd i'll i'm i've if in instead into is
isn't it it's its itself just keep know let let's like likely many may maybe me might mine more
most much must my myself need needs neither never nine no nor not now of off ok okay on once one
only onto or other our ours out over own per perhaps please pls possible quite rather really same
say says seven shall she should shouldn't since six so some somebody someone something sometimes
soon sorry still such sure take tell ten than thank thanks that that's the their theirs them then
there there's these they they're this those though three through thus til till to today together
too toward towards trying two u under unless until up upon ur us use using very via wanna want
wants was wasn't way we we're well went were weren't what what's whatever when whenever where
whether which while who whole whom whose why will with within without won't would wouldn't yes yet
you you're your yours yourself
"""
_ENGLISH_REQUESTS = """
add analyze answer ask build calculate check come compare complete convert correct create define
describe design develop discuss do draft edit ensure evaluate explain figure find fix generate
help identify ignore imagine implement improve list look make mean means name outline plan prepare
print proofread propose provide put read recommend remind rephrase reply respond return reverse
review rewrite show solve start stop suggest summarise summarize teach think translate try turn
understand update wondering write wrote
"""
_GERMAN = """
aber alle allem allen aller alles als also am an andere anderen auch auf aus bei beim bin bis
bitte brauche brauchen braucht da dabei dafür damit danach dann daran darauf daraus darf das dass
davon dazu dein deine dem den denn der des deshalb dich die dies diese diesem diesen dieser dieses
dir doch dort du durch eigentlich ein eine einem einen einer eines einige einmal er erklär erkläre
erklären es etwas euch euer falls funktioniert für gar gegen geht gern gerne gibt habe haben hallo
hast hat hatte helfen hier hilf hin hinter hätte ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im
immer in ins ist ja jede jedem jeden jeder jetzt kann kannst kein keine keinen kosten kostet kurz
können könnte könnten könntest mache machen machst macht mal man manche mehr mein meine meinem
meinen meiner mich mir mit muss möchte müssen nach nachdem neben nein nicht nichts noch nun nur ob
oder ohne schon schreib schreibe sehr sein seine seinem seinen seiner seit sich sie sind so solche
soll sollen sollte sondern sonst suche um und ungefähr uns unser unsere unter viel viele vom von
vor wann war waren warum was wegen weil welche welchem welchen welcher welches wem wen wenn wer
werde werden wie wieder wieso will wir wird wirklich wo wohl wollen worden wurde während würde zu
zum zur zwischen über
"""
_FRENCH = """
a ai aide aide-moi ainsi alors après as au aucun aussi autre aux avant avec avez avoir avons
besoin bien bonjour c'est car ce ceci cela celle celui ces cet cette chaque cherche chez ci comme
comment d'un d'une dans de depuis des dois doit donc donne donne-moi donner dont du elle elles en
encore entre es est est-ce et eu eux explique expliquer faire fais fait faut fois fonctionne il
ils j'ai j'aimerais je jusqu'à l' la laquelle le lequel les lesquels leur leurs lors lui là ma
mais me mes moi moins mon même n'est ne ni non nos notre nous on ont ou où par parce pas pendant
peu peut peux peux-tu peux-vous plus plutôt pour pourquoi pourrais-tu pourriez-vous pouvez
pouvez-vous près puis puisque qu'est-ce qu'il qu'on quand que quel quelle quelles quelque quelques
quels qui quoi s'il sa sais sans se sera ses si son sont sous suis sur ta te tes toi ton tous tout
toute toutes très tu un une va vers veux vos votre voudrais vous y écrire écris étaient était été
être
"""
_SPANISH = """
a al algo alguien alguna algunas algunos ante antes aquel aquella así aunque ayuda ayúdame aún
bajo bien busco cada casi como con contra cual cualquier cuando cuanto cuesta cuál cuáles cuándo
cuánto cuántos cómo da dame de del desde dime donde dos durante dónde e el ella ellas ellos en
entonces entre era eres es esa escribe escribir ese eso esta estaba estar este esto estos estoy
está están explica explícame fue fueron funciona gracias ha había hace hacen hacer haces hago han
has hasta hay hola la las le les lo los me mi mientras mis misma mismo mucha muchas mucho muchos
muy más mí nada necesito ni ninguna ningún no nos nosotros nuestra nuestro o os otra otras otro
otros para pero poco podría podrías por porque puede puedes puedo pues que quien quiero quién qué
se sea según ser si sido siempre sin sobre sois solo somos son soy su sus sí sólo también tampoco
tan tanto te tenemos tener tengo tenía ti tiene tienen tienes toda todas todo todos tras tu tus tú
un una unas uno unos usted va vamos vosotros voy y ya yo él
"""
_ITALIAN = """
a ad agli ai al alla alle allo anche ancora avere aveva c'è che chi ci ciao come con cosa così cui
da dagli dai dal dalla dalle davanti degli dei del della delle dello dentro di do dopo dove due e
ed era essere fa faccio fare fra già gli ha hai hanno ho i il in io l' la le lei li lo loro lui ma
mai me meglio mentre mi mia mie miei mio molti molto ne negli nei nel nella nelle nello no noi non
nostra nostro o ogni ora per perché però più poco poi possa posso prima proprio puoi può qua quale
quali quando quanti quanto quella quelle quelli quello questa queste questi questo qui sarebbe se
sei sempre senza si sia siamo sono sopra sotto sta stata stato su sua sue sugli sui sul sulla suo
suoi sì tanto te ti tra tu tua tuo tutta tutte tutti tutto un un' una uno va voglio voi vorrei è
"""
_PORTUGUESE = """
a ai ainda algum alguma alguns além antes ao aos apenas aquela aquele aquilo as assim até bem cada
com como contra cujo da das de dela dele deles depois desde dessa desse desta deste deve devo
disso do dos e ela elas ele eles em entre então era essa esse esta estar estava este está estão eu
faz fazer faço foi for foram há isso isto já la lhe lo mais mas me meio melhor menos mesma mesmo
meu meus minha minhas muita muito muitos na nada nas nem nenhum no nos nossa nosso num numa não
nós o obrigado olá onde os ou outra outras outro outros para pela pelas pelo pelos pode podem
poderia pois por porque posso pouco preciso quais qual qualquer quando quanto quantos que quem
quero quê se seja sem sempre ser será seu seus si sido sob sobre sou sua suas só também te tem
tenho ter teu toda todas todo todos tu tua tudo tão têm um uma umas uns vai você vocês vou à às é
"""
_RUSSIAN = """
а без более больше будет будто бы был была были было быть в вам вами вас ваш ваша ваши вдруг ведь
весь во вот впрочем все всегда всего всех всю всё вы где да даже два для до его ее ей ему если
есть еще ещё её ж же за здесь здравствуйте и из или им иногда их к ка как какая какие какими какой
какую когда конечно которая которые который кто куда ли лучше лучший между меня мне много могу
моего моей может можете можешь можно мои мой моя мы на над надо наконец напиши напишите нас наш не
него нее ней нельзя нет неё ни нибудь никогда ним них ничего но ну нужен нужна нужно нужны о об
объясни объясните один он она они оно опять от перед по под подскажи подскажите пожалуйста покажи
помоги помогите после потом потому почему почти при привет про раз разве расскажи расскажите с сам
свои свой сделай себе себя сейчас со спасибо так также такой там тебе тебя тем теперь то тогда
того тоже только том тот тут ты у уж уже хорошо хоть хочу чего чей чем через что чтобы чуть эта
эти это этого этой этом этот эту я является
"""
_TURKISH = """
acaba ama bana bazı ben beni benim bir biraz bu bunu da daha de değil diye en gerek gerekiyor gibi
hangi hem ile ise için kadar kaç ki merhaba mi misin mu mü mı mısın nasıl ne neden nedir nerede o
olan olarak sen sonra var ve veya ya yani yok zaman çok çünkü önce şu
"""
_DUTCH = """
aan al als bij dan dat de deze die dit door een en er graag heb hebben heeft het hoe hoeveel ik in
is je jij kan kun kunnen maar me mij mijn moet na naar niet nog of om onder ook op over te tot u
uit van voor waar waarom wanneer wat we wel welke wie wil word worden zijn zo zonder
"""
_POLISH = """
a albo ale bez bo by być była było co czy czyli dla do gdzie i ich ile jak jaka jaki jakie jest
jestem jeśli już kiedy kto która które który ma mam mi mnie moja moje możesz można mój na nie o od
oraz po pod proszę przed przez przy się są ta tak także tego ten to tylko tym u w we z za ze że
żeby
"""
_ARABIC = """
أريد أستطيع أفضل أن أنا أو أين إلى إن التي الذي بعد بين ثم ذلك طريقة على عن عند فضلك في قبل قد كان
كانت كل كم كيف لا لم لماذا لن لي ما ماذا متى مرحبا مع من هذا هذه هل هو هي يمكن يمكنني
"""
_HINDI = """
आएगा आप इस उस और कब कर करना करें कहाँ का कि कितना कितनी की के कैसे को कौन क्या क्यों जाता जाती तो
था थी ने पर भी मुझे में मेरा मेरी मेरे मैं यह लिए वह सकता सकते से हम है हैं हो होगा
"""
_KOREAN = """
것 게 그 그런데 그리고 나는 더 뭐 뭘 수 싶은데 안 안녕하세요 어떻게 왜 이 있는 잘
저 저는 제가 좀 주세요 주실 하고 하는데 하려는데 할까요 해 해야
"""
_HEBREW = """
או איך אין איפה אם אני אפשר את אתה גם האם הוא היא זאת זה יש כי כמה כן לא למה מה מי מתי על עם צריך
רוצה של
"""

REQUESTS = frozenset(_ENGLISH_REQUESTS.split())
"""What an English message asks for rather than is about; some are nouns too (“a list”)."""

LANGUAGES: tuple[frozenset[str], ...] = tuple(
    frozenset(words.split())
    for words in (
        _ENGLISH + _ENGLISH_REQUESTS, _GERMAN, _FRENCH, _SPANISH, _ITALIAN, _PORTUGUESE, _RUSSIAN,
        _TURKISH, _DUTCH, _POLISH, _ARABIC, _HINDI, _KOREAN, _HEBREW,
    )
)  # fmt: skip
"""The function words of each language; the first is taken where no other fits better."""

ARTICLES = frozenset(
    "a an the my your our their his its this that these those some any "
    "der die das den dem des ein eine einen einem einer mein meine meinen meinem meiner "
    "le la les un une des du mon ma mes el los las una unos mi mis il lo gli uno mio mia "
    "o os as um uma meu minha мой моя мое моего моей".split()
)
"""Words before a noun that a title may leave out."""

_SPACELESS = (
    "的了是在和与與吗嗎呢吧啊怎么樣样什麼请請我你您他她它们們这這那哪个個把被给給会會能可以如何为為"
    "はがをにでとのへもやかねよ"
)
SPACELESS_PARTICLES = frozenset(_SPACELESS)
"""Characters around which a Chinese or Japanese sentence can be cut."""

SPACELESS_QUESTIONS = (
    "どこ", "です", "ます", "ません", "ください", "教えて", "なに", "何を", "どう", "いつ",
    "について", "怎么", "怎麼", "如何", "什么", "什麼", "帮我", "幫我", "我想", "哪里",
    "为什么", "為什麼", "ช่วย", "ครับ", "ค่ะ", "อย่างไร", "ยังไง",
)  # fmt: skip
"""What asks or requests in scripts without spaces, and so is not what a message is about."""

THAI_WORD_STARTS = (
    "เ",
    "แ",
    "โ",
    "ใ",
    "ไ",
    "การ",
    "ความ",
    "ที่",
    "ตอน",
    "และ",
    "หรือ",
    "จาก",
    "จะ",
    "ได้",
)
"""Vowels that stand before their consonant begin a syllable; the others are common words."""


def of_message(words: list[str]) -> frozenset[str]:
    """The function words of the language that most of these (lower-case) words are of."""
    return max(LANGUAGES, key=lambda language: sum(word in language for word in words))
