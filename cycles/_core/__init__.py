"""The pure core: what to ask and what the answers mean.

No clock, randomness, threads, os, sockets, sqlite, logging or httpx lives here. A flow asks for such things by
yielding an effect, and a driver (`cycles._drivers`, or the simulator) performs it.
"""
