"""Which runtime is to execute a model: who may try, what the model looks like to each, who won, and serving by it."""
