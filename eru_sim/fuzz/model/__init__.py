"""The model: what may follow from what, told in plain code and fed by the journal's stream alone.

It shares no code with the scheduler but the types of events and commands; import-linter sees to that. From each batch
it works out what every workload, node and operation must be like, what has to be commanded, and what may be;
`Violation` says where that is not so. It does not know which node a policy prefers, nor how the core keeps its books.

`model` takes in batches, `work_events`, `node_events` and `commanded` say what follows from what is in them, `answers`
who is told so, and `rest` what must hold at the end. All of them read and change a `state` of `records`. `holdings` and
`fitting` count.
"""
