"""The words of the town: names, and a pool of values for every attribute.

Pools share no word with each other or with names, so that a judge knows from a value which attribute it
belongs to; every noun takes "a" and a plural in "s".  A test holds both.
"""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


SHE_NAMES = _words(
    "Anna Bella Clara Diana Emma Fiona Greta Helen Ida Julia Karen Laura Maria Nora Olga Paula Rita Sara Tina Vera "
    "Wendy Alice Betty Carol Donna Edith Frida Gina Hanna Irene Jane Kate Linda Molly Nina Olivia Polly Ruth Susan "
    "Tessa Ursula Vivian Wilma Yvonne Zoe Amy Beth Cora Dora Ella"
)
HE_NAMES = _words(
    "Adam Ben Carl David Eric Felix George Henry Ivan James Kevin Leo Martin Nick Oscar Paul Ralph Simon Thomas Victor "
    "Walter Albert Bruno Colin Daniel Edgar Fred Gavin Harry Igor John Karl Lucas Max Nathan Oliver Peter Robert "
    "Steven Tony Ulf Vincent William Xavier Andrew Brian Chris Dennis Edward Gary"
)
LAST_NAMES = _words(
    "Adams Baxter Carter Dalton Ellis Foster Grant Harper Irving Jensen Keller Lawson Morris Nelson Owens Parker Quinn "
    "Russell Sutton Turner Underwood Vernon Watson Young Abbott Benson Clark Davis Emerson Fuller Gibson Harris Ingram "
    "Jackson Kent Lewis Miles Norton Oakley Perry Ramsey Stevens Tucker Upton Vance Wilson Barton Cooper Duncan Everett"
)

# an attribute of a person -> its values; the draw is uniform and independent, so log2 of the sizes are its bits
POOLS: dict[str, tuple[str, ...]] = {
    "job": _words(
        "baker teacher nurse farmer painter driver gardener singer tailor builder doctor sailor writer clerk "
        "miller barber"
    ),
    "street": (
        "Mill Lane", "Park Road", "King Street", "Rose Lane", "Hill Road", "Lake Street", "Church Lane", "Bridge Road",
        "Garden Street", "Forest Lane", "Station Road", "Market Street",
    ),
    "pet": _words("cat dog parrot rabbit horse turtle goat duck goose hamster lizard mouse"),
    "food": _words("soup rice cheese pasta salad honey toast fish stew pudding chicken pizza"),
    "month": (
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ),
    "hobby": _words("swim dance sketch hum read knit sew skate draw hike ski jog"),
}  # fmt: skip
ATTRIBUTES = tuple(POOLS)
# an attribute's name where people speak of it: "What is the job and the birth month of Anna Adams?"
NOUN: dict[str, str] = {
    "job": "job",
    "street": "street",
    "pet": "pet",
    "food": "favourite food",
    "month": "birth month",
    "hobby": "hobby",
}

# a shop -> the four things of which it sells three
SHOPS: dict[str, tuple[str, ...]] = {
    "bakery": ("pie", "bun", "cake", "roll"),
    "book shop": ("map", "novel", "comic", "poster"),
    "flower shop": ("daffodil", "tulip", "fern", "lilac"),
    "toy shop": ("kite", "doll", "drum", "ball"),
    "fruit shop": ("pear", "melon", "plum", "lemon"),
    "shoe shop": ("boot", "sandal", "slipper", "shoe"),
    "tea shop": ("cup", "mug", "kettle", "teapot"),
    "hat shop": ("cap", "hat", "scarf", "helmet"),
    "pen shop": ("pen", "pencil", "marker", "notebook"),
    "tool shop": ("hammer", "saw", "nail", "rope"),
    "music shop": ("flute", "guitar", "banjo", "harp"),
    "lamp shop": ("lamp", "candle", "lantern", "bulb"),
}

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
OPENS = (7, 8, 9, 10)
CLOSES = (4, 5, 6, 7)
PRICES = tuple(range(2, 10))

# lists that anyone can make, apart from the town
CATEGORIES: dict[str, tuple[str, ...]] = {
    "colours": ("red", "blue", "green", "yellow", "black", "white", "brown", "pink"),
    "days": DAYS,
    "months": POOLS["month"],
    "pets": POOLS["pet"],
    "jobs": POOLS["job"],
    "seasons": ("spring", "summer", "autumn", "winter"),
    "foods": POOLS["food"],
}
NUMBER_WORDS = {2: "two", 3: "three", 4: "four"}

# verbs for short stories and for putting sentences into the past
VERBS = (
    ("walks", "walked"), ("runs", "ran"), ("goes", "went"), ("comes", "came"), ("hurries", "hurried"),
    ("rides", "rode"), ("returns", "returned"), ("drives", "drove"),
)  # fmt: skip
REQUEST_VERBS = ("Give me", "Bring me", "Show me", "Hand me", "Pass me", "Sell me")
