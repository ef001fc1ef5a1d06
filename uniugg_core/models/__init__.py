"""The networks, one part a file. Read them as the data flows: encoder, language, denoiser, vae, decoder, uniugg."""
