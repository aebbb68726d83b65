"""What a process may do and use: what is asked for, what can be enforced here, and the orders to the keeper.

`admission` decides whether a workload may run here at all; `orders` says to the keeper, in numbers and
arguments, what it does without thinking. Nothing is enforced halfway: what cannot be had refuses the service.
"""
