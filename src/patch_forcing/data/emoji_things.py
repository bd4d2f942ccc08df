"""Names of emoji that show one thing each, that no two share a look, and that have a plural."""

_NAMES = """
    monkey, gorilla, dog, poodle, wolf, fox, raccoon, black cat, lion, tiger, horse, unicorn,
    zebra, deer, ox, cow, pig, goat, camel, llama, giraffe, elephant, rhinoceros, mouse, rabbit,
    hedgehog, bat, bear, koala, panda, sloth, kangaroo, turkey, chicken, penguin, dove, eagle,
    duck, owl, flamingo, peacock, parrot, frog, crocodile, turtle, lizard, snake, whale,
    dolphin, tropical fish, blowfish, shark, octopus, spiral shell, snail, butterfly, bug, ant,
    honeybee, lady beetle, spider, scorpion, bouquet, rose, sunflower, tulip, potted plant,
    evergreen tree, palm tree, cactus, maple leaf, mushroom, melon, watermelon, tangerine,
    lemon, banana, pineapple, red apple, green apple, pear, peach, strawberry, tomato, avocado,
    eggplant, carrot, hot pepper, broccoli, pretzel, croissant, pancakes, cheese wedge,
    hamburger, pizza, hot dog, taco, egg, popcorn, sushi, crab, lobster, ice cream, doughnut,
    cookie, birthday cake, cupcake, candy, lollipop, teapot, wine glass, beer mug, volcano,
    castle, tent, fountain, ferris wheel, locomotive, tram, bus, ambulance, fire engine, police
    car, taxi, automobile, tractor, racing car, motorcycle, bicycle, skateboard, anchor,
    sailboat, airplane, helicopter, rocket, flying saucer, star, ringed planet, snowflake,
    snowman, fire, droplet, balloon, wrapped gift, trophy, soccer ball, baseball, basketball,
    american football, bowling, boxing glove, kite, crystal ball, game die, teddy bear, yarn,
    glasses, sunglasses, jeans, scarf, socks, dress, handbag, backpack, running shoe, crown, top
    hat, lipstick, ring, gem stone, megaphone, bell, microphone, headphone, radio, saxophone,
    accordion, guitar, trumpet, violin, drum, telephone, battery, laptop, abacus, television,
    camera, candle, light bulb, flashlight, open book, newspaper, money bag, coin, envelope,
    package, pencil, paintbrush, pushpin, scissors, key, hammer, axe, bomb, shield, wrench,
    screwdriver, gear, magnet, ladder, microscope, telescope, syringe, pill, door, bed, chair,
    toilet, broom, basket, soap, toothbrush, shopping cart, moai
"""
THINGS = tuple(" ".join(name.split()) for name in _NAMES.split(","))
_SAME_IN_PLURAL = {"deer", "pancakes", "glasses", "sunglasses", "jeans", "socks", "scissors"}
_ONE_BY_PAIR = {"glasses", "sunglasses", "jeans", "scissors"}
_IRREGULAR = {"mouse": "mice", "wolf": "wolves", "ox": "oxen", "leaf": "leaves", "die": "dice"}
_IRREGULAR |= {"fish": "fish", "blowfish": "blowfish", "sushi": "sushi", "popcorn": "popcorn"}
_VOWELS = "aeiou"


def one(name: str) -> str:
    """With its article: a guitar, an octopus, a pair of glasses."""
    if name in _ONE_BY_PAIR:
        return f"a pair of {name}"
    if name in _SAME_IN_PLURAL - {"deer"}:
        return f"some {name}"
    sounds_like_you = name.startswith(("unicorn", "ukulele"))
    return f"an {name}" if name[0] in _VOWELS and not sounds_like_you else f"a {name}"


def many(name: str) -> str:
    """Its plural: guitars, cherries, oxen."""
    if name in _SAME_IN_PLURAL:
        return f"pairs of {name}" if name in _ONE_BY_PAIR else name
    before, _, last = name.rpartition(" ")
    if last in _IRREGULAR:
        plural = _IRREGULAR[last]
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        plural = f"{last}es"
    elif last.endswith("y") and last[-2] not in _VOWELS:
        plural = f"{last[:-1]}ies"
    elif last in ("tomato",):
        plural = f"{last}es"
    else:
        plural = f"{last}s"
    return f"{before} {plural}".strip()
