"""``clawproto demo``: a hub, two agents, and everything that can go wrong, within a minute.

settings  the shortened numbers        director  the play, act by act
agent     one application              board     what happened, as the applications saw it
story     what is shown                verdict   whether all went well, checked against the hub and the disk

With --fleet: fleets is the play and the verdict, members are its processes, fleet_setting has numbers and store.
"""
