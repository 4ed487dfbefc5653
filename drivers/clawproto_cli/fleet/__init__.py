"""``clawproto fleet``: what it does with messages, and what it shows.

handlers   what is done with messages      forms   the JSON forms and the lines
table      the live table                  show    chooses between them
"""
