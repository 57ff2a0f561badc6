"""`python -m smart_llm`."""

from smart_llm.cli import main

main()
