"""A campaign of rounds at random, each with a model that says what must be live, archived, gone."""
