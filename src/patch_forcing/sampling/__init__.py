"""From noise to samples: fields, guidance, grids, samplers. Knows no network and no condition."""
