"""Generated data for tasks that the embedded data do not have, and what a model fine-tuned on them reaches.

Sentences are made from templates and from strings for people, places, companies and dates. Neither a template nor a
string of the test set occurs in training or validation, which every generator checks of the texts it has made.
"""
