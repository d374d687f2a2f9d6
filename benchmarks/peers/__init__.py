"""What others do: loops and trainers against which ours are measured."""
