"""The same answers as your best model, at the price of the cheaper ones, with a promise you can check."""
