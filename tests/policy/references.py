"""Tiny random models of every architecture, and what transformers computes with them, kept in references.npz.

Made again, in an environment with torch and transformers, by: .venv-bench/bin/python tests/policy/references.py
"""

from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("references.npz")
POSITIONS = 48  # three times the length that the scaled models were "first trained" on
SHAPE = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10_000.0,
    "tie_word_embeddings": False,
}
LLAMA3 = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
# What differs from SHAPE, in the older spelling of config.json that most checkpoints have.
CASES = {
    "qwen2_tied": {"model_type": "qwen2", "tie_word_embeddings": True},
    "qwen2_untied": {"model_type": "qwen2", "rms_norm_eps": 1e-6},
    "qwen3": {"model_type": "qwen3", "head_dim": 16},
    "llama": {"model_type": "llama"},
    "llama_tied": {"model_type": "llama", "tie_word_embeddings": True, "rope_theta": 100_000.0},
    "llama_linear": {"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 3.0}},
    "llama_llama3": {"model_type": "llama", "head_dim": 16, "rope_scaling": {"rope_type": "llama3"} | LLAMA3},
    "llama_yarn": {
        "model_type": "llama",
        "head_dim": 16,
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    },
    "qwen2_yarn": {
        "model_type": "qwen2",
        "rope_scaling": {
            "type": "yarn",
            "factor": 2.0,
            "original_max_position_embeddings": 32,
            "beta_fast": 8,
            "beta_slow": 2,
            "attention_factor": 1.3,
        },
    },
}


def config(case: str) -> dict:
    return SHAPE | CASES[case]


def ids(case: str) -> np.ndarray:
    """One row of token ids, [1, POSITIONS]."""
    return np.random.RandomState(1000 + list(CASES).index(case)).randint(0, SHAPE["vocab_size"], (1, POSITIONS))


def weight(case: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The tensor of that name: large enough that distributions are peaked. RandomState's stream never changes."""
    random = np.random.RandomState(sum((i + 1) * ord(c) for i, c in enumerate(case + name)) % 2**31)
    values = random.standard_normal(shape) * (0.2 if len(shape) == 2 else 0.3)
    return (values + (1.0 if name.endswith("norm.weight") else 0.0)).astype(np.float32)


def logits(case: str) -> np.ndarray:
    """transformers' fp32 logits, [1, POSITIONS, vocabulary]."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    settings = dict(config(case))
    made = AutoConfig.for_model(settings.pop("model_type"), **settings)
    model = AutoModelForCausalLM.from_config(made, attn_implementation="eager").to(torch.float32).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(weight(case, name, tuple(parameter.shape))))
        return model(torch.from_numpy(ids(case))).logits.numpy()


if __name__ == "__main__":
    np.savez_compressed(FILE, **{case: logits(case) for case in CASES})
    import torch
    import transformers

    made = f"{FILE.name}: {len(CASES)} models, {FILE.stat().st_size} bytes"
    print(f"{made}; transformers {transformers.__version__}, torch {torch.__version__}")
