"""Word lists of the name grammars."""

PLACE_STARTS = (
    "Al", "Bel", "Bran", "Cal", "Cor", "Dal", "Dor", "El", "Fal", "Fen", "Gal", "Har", "Hol", "Ist", "Jor", "Kal",
    "Kel", "Lan", "Lor", "Mar", "Mel", "Nor", "Or", "Pel", "Quin", "Ras", "Riv", "Sal", "Ser", "Tal", "Tor", "Ul",
    "Val", "Vel", "Ver", "Wes", "Yar", "Zan",
)  # fmt: skip
PLACE_MIDDLES = ("a", "e", "i", "o", "an", "en", "in", "ar", "er", "or", "und", "es", "im", "ol", "av")
PLACE_ENDS = (
    "bridge", "burg", "by", "dale", "den", "field", "ford", "gard", "ham", "haven", "holm", "lia", "mere", "mont",
    "mora", "port", "ria", "stad", "ton", "vale", "ville", "wick",
)  # fmt: skip
COUNTRY_ENDS = ("ania", "avia", "estan", "ica", "land", "onia", "oria", "ovia", "urra", "ua")
FIRST_NAMES = (
    "Ada", "Alma", "Amir", "Anya", "Arlo", "Asha", "Bela", "Bruno", "Cara", "Cato", "Celia", "Dario", "Dina", "Edda",
    "Elias", "Emil", "Enzo", "Esme", "Fadi", "Farah", "Felix", "Flora", "Gia", "Hana", "Hugo", "Ida", "Ines", "Ivo",
    "Jana", "Jonas", "Kai", "Kira", "Lara", "Leo", "Lina", "Luca", "Mara", "Milo", "Mira", "Nadia", "Nico", "Nora",
    "Olga", "Omar", "Oscar", "Pablo", "Petra", "Quinn", "Rafa", "Rita", "Rosa", "Ruben", "Sami", "Selma", "Silas",
    "Sofia", "Tara", "Theo", "Uma", "Vera", "Viktor", "Wanda", "Yara", "Zeno",
)  # fmt: skip
LAST_NAMES = (
    "Abara", "Almeida", "Anders", "Bakker", "Balint", "Barros", "Bauer", "Benoit", "Bergman", "Borg", "Calder",
    "Castro", "Chandra", "Costa", "Dahl", "Danso", "Dietz", "Dumont", "Eklund", "Farkas", "Ferrer", "Fontaine",
    "Frost", "Gallo", "Girard", "Greco", "Haddad", "Hansen", "Holt", "Horvat", "Ibarra", "Ito", "Jansen", "Kader",
    "Keller", "Kovac", "Kruger", "Lang", "Larsen", "Lindt", "Lopes", "Mansour", "Marek", "Mehta", "Molnar", "Moreau",
    "Navarro", "Novak", "Okafor", "Olsen", "Ortega", "Palmer", "Pereira", "Petrov", "Quist", "Ramos", "Reyes",
    "Ricci", "Roth", "Salas", "Sato", "Silva", "Soler", "Stark", "Suzuki", "Tanaka", "Thorne", "Tollan", "Torres",
    "Varga", "Vidal", "Vogel", "Weiss", "Winter", "Yilmaz", "Zeller",
)  # fmt: skip
ADJECTIVES = (
    "Amber", "Ancient", "Broken", "Burning", "Crimson", "Crystal", "Distant", "Electric", "Empty", "Endless",
    "Falling", "Fading", "First", "Frozen", "Gentle", "Golden", "Hidden", "Hollow", "Iron", "Last", "Lonely", "Lost",
    "Lucky", "Midnight", "Narrow", "Northern", "Paper", "Quiet", "Restless", "Rising", "Sacred", "Scarlet", "Secret",
    "Silent", "Silver", "Sleeping", "Stolen", "Summer", "Twisted", "Velvet", "Wandering", "White", "Wild", "Winter",
)  # fmt: skip
NOUNS = (
    "Anchor", "Arrow", "Avenue", "Bell", "Bridge", "Canyon", "Carnival", "Cathedral", "Circle", "Clock", "Coast",
    "Compass", "Crown", "Desert", "Door", "Echo", "Ember", "Empire", "Feather", "Field", "Flame", "Forest", "Garden",
    "Ghost", "Harbor", "Heart", "Horizon", "Island", "Journey", "Kingdom", "Ladder", "Lantern", "Letter", "Library",
    "Light", "Machine", "Map", "Meadow", "Mirror", "Moon", "Mountain", "Ocean", "Orchard", "Promise", "Rain",
    "River", "Road", "Rose", "Shadow", "Shore", "Signal", "Sky", "Song", "Station", "Stone", "Storm", "Summer",
    "Tide", "Tower", "Train", "Valley", "Voice", "Wheel", "Window",
)  # fmt: skip
LANDMARKS = ("Castle", "Tower", "Museum", "Bridge", "Gardens", "Palace", "Cathedral", "Market", "Lighthouse", "Arena")
COMPANY_STEMS = (
    "Acro", "Alto", "Arbor", "Astra", "Axion", "Bolt", "Brio", "Cedar", "Ciro", "Cobalt", "Core", "Delta", "Dyna",
    "Ever", "Flux", "Forge", "Glint", "Halo", "Helio", "Ion", "Juno", "Kinet", "Lumen", "Macro", "Meridian", "Nexa",
    "Nimbus", "Nova", "Octa", "Omni", "Orion", "Pax", "Pivot", "Polar", "Prime", "Quanta", "Rapid", "Sable", "Sigma",
    "Solar", "Stellar", "Terra", "Titan", "Umbra", "Vanta", "Vector", "Verde", "Vista", "Volt", "Zephyr",
)  # fmt: skip
COMPANY_ENDS = ("com", "dyne", "gen", "labs", "line", "mark", "tech", "tron", "works", "ware")
COMPANY_FORMS = ("Group", "Holdings", "Industries", "Partners", "Systems", "Corporation")
ADJECTIVES_OF_FOOD = (
    "Baked", "Braised", "Charred", "Classic", "Creamy", "Crispy", "Glazed", "Grilled", "Herbed", "Lemon", "Pickled",
    "Roasted", "Smoky", "Spiced", "Steamed", "Stuffed", "Sweet", "Tangy", "Toasted", "Warm",
)  # fmt: skip
INGREDIENTS = (
    "Almond", "Apple", "Asparagus", "Aubergine", "Barley", "Basil", "Beetroot", "Broccoli", "Butter", "Cabbage",
    "Carrot", "Cashew", "Cauliflower", "Celery", "Cheddar", "Chicken", "Chickpea", "Coconut", "Cod", "Couscous",
    "Cucumber", "Duck", "Egg", "Fennel", "Feta", "Garlic", "Ginger", "Honey", "Kale", "Lamb", "Leek", "Lentil",
    "Mango", "Mushroom", "Noodle", "Oat", "Olive", "Onion", "Orange", "Parsley", "Pea", "Pear", "Peanut", "Pork",
    "Potato", "Prawn", "Pumpkin", "Quinoa", "Rice", "Salmon", "Sesame", "Spinach", "Squash", "Tofu", "Tomato", "Trout",
    "Tuna", "Turkey", "Walnut", "Zucchini",
)  # fmt: skip
DISHES = ("Bowl", "Casserole", "Curry", "Gratin", "Noodles", "Pie", "Pilaf", "Ragout", "Salad", "Skewers", "Soup",
          "Stew", "Stir-Fry", "Tacos", "Tart", "Wrap")  # fmt: skip
PRODUCTS = (
    "Backpack", "Blender", "Camera", "Chair", "Drill", "Drone", "Fan", "Grill", "Headphones", "Heater", "Jacket",
    "Kettle", "Keyboard", "Lamp", "Mixer", "Monitor", "Mug", "Pan", "Printer", "Razor", "Router", "Scale", "Scooter",
    "Speaker", "Stroller", "Tablet", "Tent", "Toaster", "Vacuum", "Watch",
)  # fmt: skip
SUBJECTS = (
    "Accounting", "Algebra", "Anatomy", "Astronomy", "Biology", "Botany", "Calculus", "Chemistry", "Cryptography",
    "Drawing", "Ecology", "Economics", "Ethics", "Film Studies", "Finance", "Genetics", "Geology", "Grammar",
    "Journalism", "Linguistics", "Logic", "Marketing", "Mechanics", "Nutrition", "Optics", "Philosophy",
    "Photography", "Poetry", "Programming", "Psychology", "Robotics", "Sociology", "Statistics", "Zoology",
)  # fmt: skip
COURSE_FORMS = ("Foundations of", "Introduction to", "Advanced", "Practical", "Topics in", "Principles of", "Applied")
TEAM_ENDS = ("Rovers", "United", "Wolves", "Hawks", "Tigers", "Rangers", "Comets", "Bears", "Falcons", "Royals")
JOBS = (
    "Account Manager", "Accountant", "Architect", "Backend Developer", "Baker", "Biologist", "Chemist",
    "Civil Engineer", "Copywriter", "Data Analyst", "Data Scientist", "Designer", "Editor", "Electrician",
    "Financial Analyst", "Frontend Developer", "Geologist", "Hardware Engineer", "Illustrator", "Lawyer", "Librarian",
    "Machinist", "Network Engineer", "Nurse", "Photographer", "Pilot", "Product Manager", "Recruiter", "Sales Manager",
    "Security Analyst", "Statistician", "Surveyor", "Technician", "Translator", "Welder",
)  # fmt: skip
EVENTS = ("Festival", "Fair", "Concert", "Conference", "Exhibition", "Marathon", "Gala", "Workshop", "Summit", "Parade")
VENUES = ("Hall", "Arena", "Theatre", "Pavilion", "Stadium", "Forum", "Club", "Auditorium")
BANDS = ("Band", "Trio", "Quartet", "Collective", "Orchestra", "Brothers", "Sisters", "Project")
