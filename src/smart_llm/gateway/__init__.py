"""A gateway that keeps a promise on a stream: `smart serve CONFIG.toml`.

An application keeps its SDK, and changes its base URL and the name of its model to `smart/ROUTE`. A request passes

    doors (who may call, how large) → dialect (OpenAI's or Anthropic's words) → route (who answers) → dialect

and every decision of a route is in the ledger before its answer leaves (`record`).
"""
