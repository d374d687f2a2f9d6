"""Parts of policy-gradient training: batches, advantages, losses, and the learner that runs them."""
