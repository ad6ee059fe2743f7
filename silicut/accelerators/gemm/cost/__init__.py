"""What a network costs on the accelerator: cycles (published formulas, a lower bound, exact) and what of a part it takes."""
