"""Models behind one seam: `async complete(Request) -> Answer`."""
