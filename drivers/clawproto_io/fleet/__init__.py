"""Many accounts of one store, shared by many processes.

messages   what passes between the machine and a driver      policy    the numbers
ownership  the machine: who owns what, what runs              lookout   what a look at the store says
shares     names of members, shards, fair shares              board     what is shown
work       carries decisions out that concern the store
"""
