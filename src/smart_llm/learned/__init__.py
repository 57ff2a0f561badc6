"""`learned`: a candidate taught in the run, by the reference's own answers. Texts in, labels and odds out.

`features`: what a text is made of. `space`: what can be known of a table's texts before anybody is asked. `fitting`:
from some texts with labels to a model (scikit-learn, loaded only here). `model`: what was fitted, as plain arrays, and
what it says of any text. `learner`: all that for the rows of one table, in blocks.
"""
