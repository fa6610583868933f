"""Behind `cycles.prices`: rates and their arithmetic, the table of genai-prices, the shapes of providers' answers."""
