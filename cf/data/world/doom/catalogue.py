"""What a place may be made of: surfaces and things of Freedoom that stand still, with their words.

Whatever moves by itself (lava, water, torches, lamps that flicker) is left out, so that a pose seen
again has the same pixels. Words describe the pictures as they look, for captions.
"""

from typing import NamedTuple


class Thing(NamedTuple):
    """A decoration.

    Attributes:
        type: its number in a map.
        name: its class, as the engine labels it.
        words: what it looks like.
    """

    type: int
    name: str
    words: str


WALLS = {
    "ASHWALL2": "black rock",
    "ASHWALL6": "pale pebble",
    "ASHWALL7": "blue-grey stone",
    "BIGBRIK1": "large brown brick",
    "BIGBRIK2": "large grey brick",
    "BRICK4": "cracked clay",
    "BRICK6": "tan brick",
    "BRICK8": "grey-brown brick",
    "BRICK11": "red brick",
    "BRICK12": "pink brick",
    "BRONZE1": "bronze",
    "BROWN1": "rusty metal",
    "BROWNGRN": "green metal",
    "BSTONE1": "pale flagstone",
    "BSTONE2": "brown flagstone",
    "CEMENT3": "white cement",
    "CEMENT9": "green and white tile",
    "COMPBLUE": "blue circuit",
    "CRACKLE2": "cracked red rock",
    "CRATE1": "wooden crate",
    "CRATE2": "grey crate",
    "GRAY1": "grey concrete",
    "ICKWALL1": "grey plate",
    "MARBGRAY": "grey marble",
    "MARBLE1": "green marble",
    "METAL1": "black scale",
    "METAL2": "dark iron",
    "PANBLUE": "blue banner",
    "PANBOOK": "bookshelf",
    "PANCASE1": "wooden panel",
    "PANEL1": "green wooden panel",
    "PANRED": "red banner",
    "PIPES": "steel pipe",
    "REDWALL": "red plaster",
    "ROCK1": "dark cobble",
    "ROCK4": "brown cobble",
}
"""Texture -> the material of a wall."""

FLOORS = {
    "AQF018": "striped yellow",
    "AQF022": "green carpet",
    "AQF045": "grey diamond",
    "AQF047": "red herringbone",
    "FLAT10": "dark earth",
    "FLAT14": "blue carpet",
    "FLAT20": "small grey tile",
    "FLAT4": "black grid",
    "FLAT5_1": "chequered wood",
    "FLAT5_3": "red stone",
    "FLAT5_4": "grey gravel",
    "FLAT5_5": "brown gravel",
    "FLAT8": "orange tile",
    "FLOOR0_1": "tan tile",
    "FLOOR1_6": "bright red",
    "FLOOR4_6": "pink brick",
    "FLOOR4_8": "grey hexagon",
    "FLOOR7_2": "green marble",
    "GRASS1": "grass",
    "MFLR8_3": "pale pebble",
    "RROCK11": "tan flagstone",
    "RROCK19": "mossy",
}
"""Flat -> the look of a floor."""

CEILINGS = {
    "CEIL1_1": "wooden",
    "CEIL3_5": "dark",
    "CEIL4_1": "deep blue",
    "CEIL5_1": "black",
    "CEIL5_3": "dark green",
    "FLAT1": "grey",
    "FLAT18": "light grey",
    "FLAT5_5": "brown",
}
"""Flat -> the look of a ceiling."""

THINGS = (
    Thing(8, "Backpack", "backpack"),
    Thing(17, "CellPack", "battery pack"),
    Thing(30, "TallGreenColumn", "tall green column"),
    Thing(31, "ShortGreenColumn", "short green column"),
    Thing(32, "TallRedColumn", "tall red column"),
    Thing(33, "ShortRedColumn", "short red column"),
    Thing(35, "Candelabra", "candelabra"),
    Thing(37, "SkullColumn", "skull column"),
    Thing(43, "TorchTree", "bare tree"),
    Thing(48, "TechPillar", "machine pillar"),
    Thing(2001, "Shotgun", "shotgun"),
    Thing(2003, "RocketLauncher", "rocket launcher"),
    Thing(2012, "Medikit", "first-aid kit"),
    Thing(2028, "Column", "lamp"),
    Thing(2046, "RocketBox", "box of rockets"),
    Thing(2049, "ShellBox", "box of shells"),
)
