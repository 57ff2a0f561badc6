"""How sure an answer is: what a model says of itself, what anybody can see, what was learned."""
