"""The language model of OSUM-EChat: features, encoder, decoder, tokenizer, KV cache."""
