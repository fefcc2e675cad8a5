"""What can be broken, as data: targets, actions, and the state of the fabric they ask for.

One vocabulary for the fabric, the simulator, ``fail`` by hand and drills. Pure: nothing
here touches a machine. An action's undo is to take it out of the set of active ones and
to apply the desired state of those that remain.
"""
