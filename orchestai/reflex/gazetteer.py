"""Words that hint at a kind of personal data; the tagger weighs the hints, they decide nothing alone."""

from __future__ import annotations

_LISTS = {
    "COUNTRY": """afghanistan albania algeria andorra angola argentina armenia australia austria azerbaijan bahamas
    bahrain bangladesh barbados belarus belgium belize benin bhutan bolivia bosnia botswana brazil brunei bulgaria
    burundi cambodia cameroon canada chad chile china colombia congo croatia cuba cyprus czechia denmark djibouti
    ecuador egypt england eritrea estonia ethiopia fiji finland france gabon gambia georgia germany ghana gibraltar
    greece greenland grenada guatemala guinea guyana haiti honduras hungary iceland india indonesia iran iraq ireland
    israel italy jamaica japan jordan kazakhstan kenya kosovo kuwait laos latvia lebanon liberia libya liechtenstein
    lithuania luxembourg madagascar malawi malaysia maldives mali malta mauritius mexico moldova monaco mongolia
    montenegro morocco mozambique namibia nepal netherlands nicaragua niger nigeria norway oman pakistan panama
    paraguay peru philippines poland portugal qatar romania russia rwanda scotland senegal serbia singapore slovakia
    slovenia somalia spain sudan suriname sweden switzerland syria taiwan tanzania thailand togo tunisia turkey uganda
    ukraine uruguay usa uzbekistan venezuela vietnam wales yemen zambia zimbabwe europe asia africa america uk eu""",
    "NATION": """afghan african albanian algerian american arab argentinian armenian asian australian austrian bahraini
    bangladeshi basque belarusian belgian belizean bolivian bosnian brazilian british bulgarian cambodian canadian
    catalan chilean chinese colombian croatian cuban cypriot czech danish dutch egyptian english estonian ethiopian
    european filipino finnish french georgian german ghanaian greek greenlander greenlandic haitian hispanic hungarian
    icelandic indian indonesian iranian iraqi irish israeli italian jamaican japanese jewish jordanian kazakh kenyan
    korean kurdish kuwaiti latvian lebanese libyan lithuanian macedonian malaysian maltese mexican moldovan mongolian
    moroccan muslim nepalese nigerian norwegian pakistani palestinian peruvian polish portuguese romanian russian saudi
    scottish senegalese serbian slovak slovenian somali spanish sudanese swedish swiss syrian taiwanese thai tunisian
    turkish ukrainian uruguayan uzbek venezuelan vietnamese welsh yemeni zambian christian catholic hindu buddhist""",
    "DAY": "monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun",
    "MONTH": """january february march april may june july august september october november december jan feb mar apr
    jun jul aug sep sept oct nov dec""",
    "TITLE": "mr mrs ms miss mx dr prof professor sir madam dame lord lady rev herr frau monsieur madame",
    "COMPANY": """inc ltd llc plc corp corporation company gmbh ag limited group holdings bank university institute
    associates partners sons technologies systems solutions services industries labs foundation ventures""",
    "STREET": """street st avenue ave road rd lane ln drive dr court ct square boulevard blvd way terrace place pl
    highway hwy parkway apt suite unit box floor strasse straße str platz weg allee gasse rue via viale piazza calle
    plaza avenida rua praça rua ulica ulice utca út u gata gatan vägen vej gade vegen tie katu straat laan plein""",
    "AGED": "old aged age years year yo",
    "GIVEN": """aaron adam adrian agnes ahmed aisha alan albert alex alexander alexandra alfred ali alice amanda amelia
    amy ana andre andrea andreas andrew angela anita ann anna anne anthony antonio arthur barbara ben benjamin bernard
    beth betty bob brian bruno carl carla carlos carmen carol caroline catherine charles charlotte chen chris christian
    christina christine christopher clara claire claudia daniel daniela david deborah dennis diana diego dmitri donald
    dorothy edward elena eleanor elizabeth ella emil emily emma eric erik ernst eva evelyn fatima felix fernando fiona
    florence francesca francis francisco frank fred frederick gabriel george gerald giovanni giulia gloria gordon greg
    gustav hannah hans harold harry hassan heather heidi helen helena henry howard hugo ian ibrahim igor ines ingrid
    irene isaac isabel ivan jack jacob jakob james jan jane janet jason javier jean jennifer jeremy jessica joan joe
    johan johannes john jonas jonathan jorge jose joseph juan judith julia julian julie karen karin karl kate katharina
    katherine kathleen keith kelly kenneth kevin kim klaus lars laura lauren leo leon leonard li liam lily linda lisa
    louis louise luca lucas lucia lucy luis luke magnus marc marco margaret maria marie marina mario marion mark marta
    martha martin mary matteo matthew maximilian maya mehmet mia michael michel miguel mohamed mohammed monica nancy
    natalie natasha nathan nicholas nicole nils nina noah olga oliver olivia omar oscar otto pablo pamela patricia
    patrick paul paula pedro peter philip pierre rachel rafael ralph raymond rebecca ricardo richard robert roberto
    roger roman ronald rosa rose roy ruth ryan sabine samuel sandra sara sarah scott sean sergei sharon simon sofia
    sophia sophie stefan stephanie stephen steven susan suzanne svetlana sylvia tamara tatiana teresa theodore theresa
    thomas tim timothy tobias tom tomas tony ursula valentina vanessa vera veronica victor victoria viktor vincent
    vladimir walter wang wei william wolfgang xavier yasmin yuki yusuf yvonne zoe""",
}

HINTS: dict[str, str] = {word: kind for kind, words in reversed(_LISTS.items()) for word in words.split()}
"""Kind by word in lower case; where a word is in two lists, the earlier list wins."""
