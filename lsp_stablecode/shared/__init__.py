"""One engine process for all of a user's editors, and a light process for each of them.

An editor starts ``serve --shared``, the *front*. It imports no pygls and no model: it
joins the *hub*, the one process that holds models, or starts it, and passes messages
on in both directions. What a hub would need to know after the one before it has died,
the front keeps in its *mirror*.
"""
