"""Metering: what an SDK spends, beside what a provider bills."""
