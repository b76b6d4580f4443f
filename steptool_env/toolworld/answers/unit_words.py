"""Units, currencies and magnitudes: sizes, words and symbols."""

# name in pint | factor to the SI unit | other words and symbols. Words of four or more letters get a plural in -s.
TABLE = {
    "length": """
        angstrom|1e-10|å ångström
        micron|1e-6|
        light_year|9460730472580800|lightyear light-year ly lyr
        astronomical_unit|149597870700|au
        parsec|3.0856775814671916e16|
        nautical_mile|1852|nmi
        thou|2.54e-5|
        inch|0.0254|inches
        foot|0.3048|ft feet
        yard|0.9144|yd yds
        mile|1609.344|mi statute_mile
        fathom|1.828803657607315|
        furlong|201.16840233680466|
    """,
    "time": """
        minute|60|min mins
        hour|3600|h hr hrs
        day|86400|d days
        week|604800|wk wks
        fortnight|1209600|
        month|2629800|
        year|31557600|yr yrs
        century|3155760000|centuries
        millennium|31557600000|millennia
    """,
    "mass": """
        dalton|1.66053906892e-27|
        metric_ton|1000|t tonne tonnes metric_tonne
        carat|0.0002|ct
        ounce|0.028349523125|oz
        pound|0.45359237|lb lbs
        stone|6.35029318|st
        hundredweight|45.359237|cwt
        short_ton|907.18474|ton tons
        metric_ton|1000|ton tons
        long_ton|1016.0469088|
        slug|14.59390293720637|
        pennyweight|0.00155517384|
        troy_ounce|0.0311034768|
        grain|6.479891e-5|
    """,
    "speed": """
        knot|0.5144444444444445|kn kt kts
        mile_per_hour|0.44704|mph
        kilometer_per_hour|0.2777777777777778|kph kmh kmph
        meter_per_second|1|mps
        foot_per_second|0.3048|fps
        speed_of_light|299792458|
    """,
    "area": """
        hectare|10000|ha
        acre|4046.8726098742513|
        barn|1e-28|
    """,
    "volume": """
        cubic_centimeter|1e-6|cc ccm
        fluid_ounce|2.9573529562499994e-5|fl_oz floz
        pint|0.000473176473|
        quart|0.000946352946|
        gallon|0.003785411784|gal
        teaspoon|4.928921593749999e-6|tsp
        tablespoon|1.4786764781249997e-5|tbsp
        cup|0.00023658823649999996|cups
        barrel|0.11924047119599998|bbl
        bushel|0.03523907016687999|
    """,
    "energy": """
        erg|1e-7|ergs
        british_thermal_unit|1055.056|btu
        therm|105505600|
    """,
    "power": "horsepower|745.6998715822701|hp",
    "pressure": """
        standard_atmosphere|101325|atm atmosphere
        bar|100000|
        torr|133.32236842105263|
        pound_force_per_square_inch|6894.757293168361|psi
    """,
    "force": "dyne|1e-5|",
    "frequency": "revolutions_per_minute|0.10471975511965977|rpm",
    "data": "byte|8|",
    "angle": """
        degree|0.017453292519943295|° deg arc_degree
        radian|1|rad
        arcminute|0.0002908882086657216|
        arcsecond|4.84813681109536e-6|
    """,
    "ratio": """
        percent|0.01|% per_cent pct percentage_point
        permille|0.001|‰ per_mille
        ppm|1e-6|parts_per_million
    """,
}
# Units that take SI prefixes: dimension, factor, symbol, spellings.
PREFIXED = (
    ("length", 1.0, "m", "metre meter"),
    ("mass", 1e-3, "g", "gram gramme"),
    ("time", 1.0, "s", "second sec"),
    ("volume", 1e-3, "l", "litre liter"),
    ("energy", 1.0, "J", "joule"),
    ("energy", 4.184, "cal", "calorie"),
    ("energy", 3600.0, "Wh", "watt_hour watthour"),
    ("energy", 1.602176634e-19, "eV", "electronvolt electron_volt"),
    ("power", 1.0, "W", "watt"),
    ("pressure", 1.0, "Pa", "pascal"),
    ("force", 1.0, "N", "newton"),
    ("frequency", 1.0, "Hz", "hertz"),
    ("voltage", 1.0, "V", "volt"),
    ("current", 1.0, "A", "ampere amp"),
    ("resistance", 1.0, "Ω", "ohm"),
    ("data", 1.0, "bit", "bit"),
    ("data", 8.0, "B", "byte"),
    ("amount", 1.0, "mol", "mole"),
)
PREFIXES = {
    "": (1.0, ""), "kilo": (1e3, "k"), "centi": (1e-2, "c"), "milli": (1e-3, "m"), "micro": (1e-6, "µ"),
    "nano": (1e-9, "n"), "mega": (1e6, "M"), "giga": (1e9, "G"), "tera": (1e12, "T"), "deci": (0.1, "d"),
    "hecto": (100.0, "h"), "deca": (10.0, "da"),
}  # fmt: skip
NO_SYMBOLS = frozenset({"N", "V", "A", "W", "B"})
"""Symbols with another more frequent meaning: a compass point, a letter of a list."""
TEMPERATURES = {
    "kelvin": (1.0, 0.0, "K kelvin kelvins degrees_kelvin °_K"),
    "degree_Celsius": (1.0, 273.15, "C celsius centigrade degrees_celsius degree_celsius deg_C °_C ℃ degrees degree ° "
                       "degrees_C degrees_centigrade"),
    "degree_Fahrenheit": (5 / 9, 273.15 - 32 * 5 / 9, "F fahrenheit degrees_fahrenheit degree_fahrenheit deg_F °_F ℉ "
                          "degrees_F"),
    "degree_Rankine": (5 / 9, 0.0, "rankine degrees_rankine °_R"),
}  # fmt: skip
MAGNITUDES = {
    "dozen": 12, "dozens": 12, "hundred": 100, "hundreds": 100, "thousand": 1000, "thousands": 1000, "k": 1000,
    "K": 1000, "lakh": 10**5, "lakhs": 10**5, "crore": 10**7, "crores": 10**7, "million": 10**6, "millions": 10**6,
    "mn": 10**6, "mln": 10**6, "mio": 10**6, "M": 10**6, "MM": 10**6, "m": 10**6, "billion": 10**9, "billions": 10**9,
    "bn": 10**9, "B": 10**9, "b": 10**9, "mrd": 10**9, "milliard": 10**9, "trillion": 10**12, "trillions": 10**12,
    "tn": 10**12, "T": 10**12,
}  # fmt: skip
DOLLARS = (
    "usd dollar dollars us_dollar us_dollars u_s_dollar u_s_dollars american_dollar american_dollars buck bucks $ us_$ "
    "u_s_$ united_states_dollar united_states_dollars"
)
CENTS = "cent cents ¢ us_cent us_cents"
CURRENCIES = {
    "EUR": "€ euro euros", "GBP": "£ pound pounds pound_sterling pounds_sterling british_pound british_pounds quid",
    "JPY": "¥ yen japanese_yen", "CHF": "franc francs swiss_franc swiss_francs", "INR": "₹ rupee rupees rs",
    "CNY": "yuan renminbi rmb chinese_yuan", "AUD": "a_$ au_$ australian_dollar australian_dollars",
    "CAD": "c_$ ca_$ canadian_dollar canadian_dollars", "HKD": "hk_$ hong_kong_dollar hong_kong_dollars",
    "NZD": "nz_$ new_zealand_dollar new_zealand_dollars", "SGD": "s_$ singapore_dollar singapore_dollars",
    "RUB": "₽ ruble rubles rouble roubles", "KRW": "₩", "TRY": "₺ lira liras", "UAH": "₴ hryvnia", "VND": "₫ dong",
    "THB": "฿ baht", "ILS": "₪ shekel shekels", "NGN": "₦ naira", "PHP": "₱", "BTC": "₿ bitcoin bitcoins",
    "ZAR": "rand rands", "BRL": "r_$ reais", "MXN": "peso pesos mexican_peso mexican_pesos", "SEK": "krona kronor",
    "NOK": "krone kroner kr", "CZK": "koruna crown crowns", "PLN": "zloty zlotys", "HUF": "forint forints",
    "AWG": "florin florins", "DEM": "mark marks", "KWD": "dinar dinars", "AED": "dirham dirhams",
    "SAR": "riyal riyals", "MYR": "ringgit", "IDR": "rupiah", "KES": "shilling shillings", "NLG": "guilder guilders",
    "TWD": "nt_$", "CRC": "₡", "KZT": "₸", "GEL": "₾",
}  # fmt: skip
CODES = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTC BTN BWP BYN BZD CAD CDF
    CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB ETH EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD
    HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD
    MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG
    QAR RMB RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD
    TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XAG XAU XCD XDR XOF XPF YER ZAR ZMW ZWL
"""  # ISO 4217, with bitcoin, ether and RMB
SPELLED = frozenset({"usd", "eur", "gbp", "jpy", "chf", "inr", "cny", "rmb", "aud", "cad"})  # also in lower case
ELSEWHERE = """
    hours|Stunde Stunden Std heure heures hora horas ora ore uur uren
    minutes|Minuten minuto minutos minuti
    seconds|Sekunde Sekunden seconde secondes segundo segundos secondi
    days|Tag Tage Tagen jour jours día días dia dias giorno giorni dag dagen
    weeks|Woche Wochen semaine semaines semana semanas settimana settimane
    months|Monat Monate mois mes meses mese mesi
    years|Jahr Jahre Jahren ans année année années año años ano anos anno anni
    kilometres|Kilometer Kilometern kilomètre kilomètres kilómetro kilómetros chilometri quilómetros
    metres|Meter Metern mètre mètres metro metros metri
    grams|Gramm gramme grammes gramo gramos grammi grama
    kilograms|Kilogramm kilogramme kilogrammes kilogramo kilogramos chilogrammi quilogramas
    percent|Prozent pour_cent por_ciento per_cento por_cento
    square_metres|Quadratmeter Quadratmetern mètres_carrés metros_cuadrados metri_quadrati metros_quadrados
    square_kilometres|Quadratkilometer kilomètres_carrés kilómetros_cuadrados chilometri_quadrati
    dollars|dólar dólares dollari
    million|Million Millionen millones milioni milhões
    thousand|Tausend mille mil mila
    billion|Milliarde Milliarden milliards miliardi
"""
"""Lines `English word|words in German, French, Spanish, Italian, Portuguese and Dutch`."""
_SOFT = """
    stone barn cup cups bar st ct au kt d grain mark marks crown crowns metro tag mil mes ore mila
"""
ORDINARY = frozenset(_SOFT.split())
"""Words that are units only in a slot of the same dimension; elsewhere they are ordinary words."""
