def write_sample(folder, seed):
    raise SystemExit
