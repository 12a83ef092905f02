"""The commands, by what they are for: each parses, builds a configuration, calls. Heavy imports wait inside them."""
