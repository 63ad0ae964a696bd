"""DOOM: rooms of a real game engine (ViZDoom), every place drawn from a number."""
