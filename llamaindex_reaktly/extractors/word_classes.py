"""Words that tell nouns from other words, and words too general to be tags, by language.

A word behind a determiner or a preposition is most often a noun; behind `to`, a pronoun or
a modal it is a verb. A language that is not here is counted without that evidence.
"""

from collections.abc import Mapping


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


DETERMINERS: Mapping[str, frozenset[str]] = {
    "en": _words(
        "a an the this these those my your his her its our their of in on at by for from with "
        "without into about between through each every any"
    ),
    "fr": _words(
        "le la les l un une des du de d ce cet cette ces mon ma mes ton ta tes son sa ses notre "
        "nos votre vos leur leurs au aux dans sur sous par pour avec sans"
    ),
    "es": _words(
        "el la los las un una unos unas al del de este esta estos estas su sus mi mis tu tus en "
        "con por para sin sobre y o"
    ),
    "it": _words(
        "il lo la i gli le l un uno una del dello della dei degli delle al allo alla ai dal dalla "
        "nel nella sul sulla di da in con su per"
    ),
    "nl": _words("de het een dit dat deze die van in op aan bij met voor uit over onder"),
    "pt": _words(
        "o a os as um uma uns umas do da dos das no na nos nas pelo pela de em com por para sem "
        "sobre"
    ),
}

VERB_CUES: Mapping[str, frozenset[str]] = {
    "en": _words(
        "to can could may might must shall should will would do does did not i you we they he she "
        "it who which that"
    ),
    "fr": _words("je j tu il elle on nous vous ils elles ne n se s y"),
    "es": _words("yo tú él ella nosotros ellos ellas se no"),
    "it": _words("io tu lui lei noi voi loro si non"),
    "nl": _words("ik jij je hij zij ze wij we te"),
    "pt": _words("eu tu você ele ela nós eles elas se não"),
}

# What every manual, shop and news page says, whatever it is about.
GENERIC_WORDS: Mapping[str, frozenset[str]] = {
    "en": _words(
        """
        able above apart asked asks costs lets off out somebody wrong
         actual actually add added additional advanced allow allowed allows already also
        always another appear appropriate available away back bad based basic become becomes
        begin below best better big bit bring brought call called calls came case cases
        certain change changed changes check choose click close come comes common complete
        consider contain contained containing contains copy correct create created
        creates current currently day days default defined depending describe described describes
        detail details different directly done due easily easy either else end enough ensure
        entire etc even ever every everything exactly example examples except exist existing
        exists explicitly fact far few find fine first five follow followed following follows
        form found four full fully further general generally get gets getting give given
        gives go goes going good great half happen hard hardly help helps here high however
        important include included includes including instead item items keep keeps kept kind
        know known large larger last later least leave left less let like likely line little
        long longer look lot lots low made main make makes making many mean means meant mention
        mentioned mind minute minutes month more most move much name named near necessary need
        needed needs never new next nice none normal normally note notes nothing now number numbers
        obtain occur often ok old once one ones open opposed option optional options order
        original other others otherwise otherwise overview own page pages part particular parts
        people per perhaps person place point possible possibly previous probably
        problem produce provide provided provides purpose put quickly quite rather read
        ready real really reason recommended regardless related remain require required
        requires rest result results right run running runs said same say says second section
        sections see seen select separate set sets setting several short should show shown shows
        similar simple simply since single six small so sometimes soon sort special specific
        specified specifies specify start started starts still stop such sure take taken
        takes ten than thing things think third though three thus time times today together
        told too took top total true try turn two type types typically typical under unless until
        up upon us use used useful user uses using usual usually value values various version
        very via view want wants way ways week weeks well whatever whether whole whose wide will
        work worked working works worth written year years yes yet zero
        """
    ),
    "de": _words(
        """
        art beispiel bereich fall fälle form frage fragen ganze gut hinweis jahr jahre jahren
        jeder kilo klein lang liste menge minuten möglichkeit monat name neu nächste ort paar
        person problem punkt rest seite seiten sache stelle stück stunden tag tage tagen teil teile
        uhr unser viel viele woche wochen wort zahl zeit ziel zwei drei
        """
    ),
    "fr": _words(
        """
        an ans année années avoir bien bon bonne cas chose choses deux exemple faire fois heure
        heures jour jours mois moyen nouveau nouvelle page partie petit point premier première
        problème quelques semaine semaines temps trois type valeur
        """
    ),
    "es": _words(
        """
        año años bien buen buena caso cosa cosas día días dos ejemplo hacer hora horas mes meses
        nuevo nueva página parte problema punto semana semanas tiempo tipo tres valor vez veces
        """
    ),
}
