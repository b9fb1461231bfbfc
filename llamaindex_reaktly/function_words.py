"""Words that hold a question together and say nothing of what it is about.

Articles, pronouns, prepositions, conjunctions, auxiliaries and question words, by
language. They are left out of queries (never of documents): in a small collection
`what` or `can` is rare enough for BM25 to take it for a subject. With them left out,
nDCG@10 of BM25 rises by .04 on cacm and cisi and by .015 on cranfield (measured).
A language that is not here loses nothing but that.
"""

from collections.abc import Mapping


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


FUNCTION_WORDS: Mapping[str, frozenset[str]] = {
    "en": _words(
        """
        a an the this that these those such i me my mine myself we us our ours ourselves you your
        yours yourself yourselves he him his himself she her hers herself it its itself they them
        their theirs themselves who whom whose which what when where why how someone something
        anyone anything everyone everything am is are was were be been being do does did doing
        done has have had having can could may might must shall should will would ought of to in
        on at by for from with without within into onto upon about above below over under between
        among through during before after against along across around toward towards until since
        and or but nor so yet if because although though while whereas whether unless as than then
        there here thus hence therefore however also too very just only even still not no any some
        each every both either neither all other another own same more most much many few less
        least again further once ever please tell give
        """
    ),
    "de": _words(
        """
        der die das den dem des ein eine einen einem einer eines kein keine keinen keinem keiner
        dieser diese dieses diesen diesem jener jene jenes jeder jede jedes jeden jedem ich mich
        mir mein meine meinen meinem meiner du dich dir dein deine er ihn ihm sein seine seinen
        seinem seiner sie ihr ihre ihren ihrem ihrer es wir uns unser unsere euch euer man sich
        wer wen wem wessen was welcher welche welches welchen welchem wann wo wohin woher warum
        wieso weshalb wie bin bist ist sind seid war waren wird werden wurde wurden worden habe
        hast hat haben hatte hatten kann können konnte könnte muss müssen soll sollen sollte will
        wollen darf dürfen mag möchte würde von vom zu zum zur in im an am auf aus bei beim mit
        nach für über unter um durch gegen ohne zwischen seit bis vor hinter neben während wegen
        und oder aber sondern denn weil dass ob wenn als damit obwohl sowie doch auch nur noch
        schon sehr so dann da dort hier also nicht nichts alle alles einige mehr etwas bitte gibt
        """
    ),
    "fr": _words(
        """
        le la les l un une des du de d ce cet cette ces c je j me m moi mon ma mes tu te t toi ton
        ta tes il elle on se s soi son sa ses nous notre nos vous votre vos ils elles eux leur
        leurs lui y en qui que qu quoi dont où quel quelle quels quelles quand comment pourquoi
        combien est es suis sommes êtes sont était étaient être été fut a ai as avons avez ont
        avait avaient avoir eu peut peux peuvent pouvoir doit doivent faut fait à au aux dans sur
        sous par pour avec sans chez entre vers contre depuis pendant avant après et ou mais donc
        or ni car si comme lorsque puisque ne n pas plus très aussi même tout tous toute toutes
        autre autres ici là
        """
    ),
    "es": _words(
        """
        el la los las lo un una unos unas al del este esta estos estas ese esa eso esos esas yo me
        mi mis tú te ti tu tus él ella ello se sí su sus nosotros nos nuestro nuestra ustedes
        ellos ellas le les quién quien quienes qué que cuál cual cuáles cuándo cuando dónde donde
        cómo como por porqué cuánto cuánta cuántos cuántas es soy eres somos son era eran ser sido
        fue está están estar estaba ha he has hay han haber había tiene tienen puede pueden debe
        deben a ante bajo con contra de desde en entre hacia hasta para según sin sobre tras y e o
        u pero sino ni si porque aunque mientras no más muy también ya todo todos toda todas otro
        otra otros otras
        """
    ),
    "it": _words(
        """
        il lo la i gli le l un uno una del dello della dei degli delle al allo alla ai agli alle
        dal dalla dai dalle nel nello nella nei nelle sul sulla sui sulle questo questa questi
        queste quello quella quelli quelle io mi mio mia miei mie tu ti tuo tua lui lei si suo sua
        suoi sue noi ci nostro nostra voi vi vostro loro ne chi che cui quale quali quando dove
        come perché quanto quanta quanti è sono sei siamo siete era erano essere stato ho hai ha
        abbiamo hanno aveva avere può possono deve devono di a da in con su per tra fra senza
        verso contro dopo prima e ed o ma se anche non più molto già tutto tutti tutta tutte altro
        altri altra altre
        """
    ),
    "nl": _words(
        """
        de het een dit dat deze die ik mij me mijn jij je jou jouw u uw hij hem zijn zij ze haar
        wij we ons onze jullie hun hen zich er wie wat welke welk wanneer waar waarom hoe ben bent
        is was waren wordt worden werd werden geweest heb hebt heeft hebben had hadden kan kunnen
        kon moet moeten mag mogen zal zullen zou wil willen van te in op aan bij met voor naar uit
        over onder door om tegen zonder tussen sinds tot na en of maar want omdat als dan toen dus
        ook nog al niet geen zeer alle alles meer
        """
    ),
    "pt": _words(
        """
        o a os as um uma uns umas ao aos à às do da dos das no na nos nas pelo pela pelos pelas
        este esta estes estas esse essa isso isto aquele aquela eu me mim meu minha meus minhas tu
        te teu tua você vocês ele ela eles elas se si seu sua seus suas nós nosso nossa lhe lhes
        quem que qual quais quando onde como porque porquê quanto quanta quantos quantas é sou são
        era eram ser sido foi está estão estar tem têm há ter pode podem deve devem de em com por
        para sem sob sobre entre até desde contra e ou mas nem não mais muito também já todo todos
        toda todas outro outra outros outras
        """
    ),
}
