"""``lilliput compress``: the search for the models that a target asks for."""
