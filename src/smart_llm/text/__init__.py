"""How things are written for people: numbers, wrapped lines, text made safe to look at."""
