"""Tasks: prompt, output contract and equivalence. Pure: no files, no network, no clock.

task.columns(table_columns)   which columns the prompt uses (InputError for a wrong one)
task.render(row)              the prompt for one row
task.parse(reply)             the answer's value, or None: contract broken, never delivered
task.equivalent(a, b)         whether two values count as the same
"""

from smart_llm.tasks.contracts import Contract
from smart_llm.tasks.equivalence import EQUIVALENCES, Equivalence
from smart_llm.tasks.task import Task, format_value
from smart_llm.tasks.template import Template

__all__ = ["EQUIVALENCES", "Contract", "Equivalence", "Task", "Template", "format_value"]
