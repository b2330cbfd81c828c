"""What each key of a site's two files does, in the words of a data steward."""

from collections.abc import Mapping
from types import MappingProxyType

from fedloom.client.site.commented import Note

SITE_OPENING = """\
site.toml: who this site is, and where its records, its model and its ledger lie.
The site alone writes this file. Relative paths are taken from this folder.
Looked over by: fedloom site check"""

POLICY_OPENING = """\
policy.toml: what this site allows. The site alone writes it; no coordinator can change it.
It is read anew for each round that is asked for, so a change holds from the next round on."""

SITE_NOTES: Mapping[str, Note] = MappingProxyType(
    {
        "name": Note(text="The site's public name, as plans have it."),
        "model": Note(
            text="Folder of the base model. A plan for other weights, by one byte, is refused."
        ),
        "state": Note(
            text="Folder of the signing key, the ledger and the sealed updates, the owner's alone. "
            "Back it up. Put back nothing but the newest copy, and never delete it: without it "
            "the site stops, because nothing else knows what was spent."
        ),
        "declared_units": Note(
            text="How many units (see source.unit) there are to train on. PUBLIC: each coordinator "
            "is told it. It fixes how often a unit is drawn; a rounded number will do."
        ),
        "labels": Note(
            text="The classes, in the order that plans have them. None: any text is an answer."
        ),
        "policy": Note(text="What this site allows."),
        "source": Note(text="Where the records lie. They are read here and never leave."),
        "source.path": Note(text="A .csv, .jsonl or .parquet file."),
        "source.text": Note(text="The column with what is classified or asked."),
        "source.label": Note(text="The column with its class or answer."),
        "source.unit": Note(
            text='Who is protected: "record" protects each row by itself. The name of a column, '
            "such as patient, protects all rows of one patient together."
        ),
        "source.messages": Note(
            text="A column of chats, in place of the columns for text and label.", example="chat"
        ),
        "source.group": Note(
            text="A column that says which group of people a row is of. With it, a plan may weight "
            "rows by this column and by no other; without it, by none.",
            example="sex",
        ),
        "split": Note(text="What is kept out of training, by a hash of each unit."),
        "split.holdout": Note(
            text='Which part is for scoring: "test", or "validation" while settings are chosen.'
        ),
        "split.test_fraction": Note(text="Part of the units that is for tests; 0.0 for none."),
        "split.validation_fraction": Note(
            text='Part of the other units that is for validation, if holdout is "validation".'
        ),
        "cache": Note(
            text="What the frozen part of the model gives for the records, kept for the length of "
            "a run to train faster. As private as the records."
        ),
        "cache.folder": Note(text="Where it is kept, if not in the state folder.", example="cache"),
        "cache.max_bytes": Note(text="At most so much, in bytes; 0 keeps nothing."),
        "cache.keep": Note(text="Whether it stays after a run."),
        "compute": Note(text="Where this site computes."),
        "compute.device": Note(
            text='"auto", "cpu" or "cuda"; auto takes a GPU where there is one.'
        ),
        "key": Note(text="The key that signs the ledger."),
        "key.passphrase_file": Note(
            text="A file with its passphrase, the owner's alone (chmod 600). The key was made with "
            "it or without it; this line only says where it is.",
            example="passphrase.txt",
        ),
        "service": Note(text="Where the trainer service waits for this site's own relay."),
        "service.address": Note(
            text='A socket, "unix:PATH", or "127.0.0.1:PORT" with certificates.'
        ),
        "service.tls": Note(
            text="For a port: a folder with ca.pem, service.pem and service.key.", example="tls"
        ),
        "service.relay_tls": Note(
            text="For an address that needs certificates: a folder with ca.pem, relay.pem and "
            "relay.key, for the Flower node that asks.",
            example="relay-tls",
        ),
        "node": Note(text="The Flower node beside the service, once the site has joined."),
        "node.port": Note(text="Its port on loopback; it takes the next three as well."),
        "coordinator": Note(
            text="Who may ask. Filled in by fedloom site join from the coordinator's kit."
        ),
        "coordinator.public_key": Note(
            text="The coordinator's public key: with it, the service trains only on what that key "
            "signed. Compare it with what the coordinator told you by another way.",
            example="64 hex digits",
        ),
    }
)

POLICY_NOTES: Mapping[str, Note] = MappingProxyType(
    {
        "budget": Note(
            text="How much of its records' privacy the site will ever spend, for each unit (see "
            "source.unit in site.toml). What is spent never comes back."
        ),
        "budget.epsilon": Note(
            text="The limit over all runs together. Smaller protects more: at 1, whatever anyone "
            "concludes is at most 2.7 times as likely with a unit as without it; at 8, the bound "
            "is 3,000 times, although the attacks that are known do far less."
        ),
        "budget.delta": Note(
            text="How likely that bound may fail. Keep it far below 1 / declared_units."
        ),
        "budget.epsilon_per_run": Note(
            text="The limit for one run by itself; as epsilon, if left out.", example=4.0
        ),
        "budget.min_noise_multiplier": Note(
            text="The least noise in a single step, as a multiple of what one unit can move."
        ),
        "budget.min_units": Note(
            text="With fewer declared units than this, the site does not train."
        ),
        "limits": Note(text="How long one run may be, and how large its adapter."),
        "limits.max_rounds": Note(text="Rounds of a run; each asks for one update."),
        "limits.max_rounds_in_all": Note(
            text="Rounds of all runs together: that and when an answer came tells a little each "
            "time, which no epsilon covers."
        ),
        "limits.max_steps": Note(text="Training steps of a run, over all its rounds."),
        "limits.max_copies": Note(
            text="Copies of a record, with words for groups exchanged, that a plan may train on "
            "([mitigation]): each takes as long as a record."
        ),
        "limits.max_rank": Note(text="Rank of the adapter (LoRA): how many numbers it may hold."),
        "allow": Note(text="What may be trained."),
        "allow.models": Note(
            text="Base models, by fingerprint (SHA-256); none means the one in site.toml, whatever "
            "lies there."
        ),
        "allow.tasks": Note(
            text="Kinds of task: one label for a text, or answers from a language model."
        ),
        "allow.targets": Note(
            text="Layers that may be adapted, by name, such as query and value; none means any."
        ),
        "allow.mitigation": Note(
            text="Whether a plan may train on copies of a record in which words for groups of "
            "people are exchanged, or weight groups, against bias. What leaves is bounded and "
            "noised as without it, and no epsilon is spent on it; a round takes longer."
        ),
        "allow.seeded_noise": Note(
            text="For simulations only. Seeded noise PROTECTS NOBODY: it can be taken off again."
        ),
        "allow.without_privacy": Note(
            text="For simulations only. Training without noise PROTECTS NOBODY."
        ),
        "release": Note(
            text="What may leave beside the noised update. Each value leaves with noise of its own "
            "and is charged to the same budget."
        ),
        "release.values": Note(
            text='None, or "held-out-accuracy": how many units are held out, and how many of them '
            "a round's adapter gets right."
        ),
        "release.min_metric_noise_multiplier": Note(
            text="The least noise of such a value, as a multiple of what one unit can move."
        ),
        "approval": Note(text="Who says yes to a plan that is within all of the above."),
        "approval.mode": Note(
            text='"automatic-within-policy": it trains at once. "manual": each plan first waits '
            "for a person, who looks at it and signs with fedloom site approve."
        ),
    }
)
