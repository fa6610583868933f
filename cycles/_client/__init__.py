"""What both clients share: their base and options, keyword arguments to requests, paging, the default client."""
