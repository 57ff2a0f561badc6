"""The shipped procedures on recorded or made-up answers."""
