"""`python -m smart_llm.cli`."""

from smart_llm.cli import main

main()
