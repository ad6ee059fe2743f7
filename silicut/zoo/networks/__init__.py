"""The architectures of the zoo as plain PyTorch modules; `silicut.zoo.registry` gives them names."""
