"""azure-native's provider plugin for Pulumi, for Local Azure: the only part of it that knows Pulumi.

Against Azure the official plugin is used. This one behaves as that does, also where it hurts, so that what works here
works there: it compares inputs with inputs, replaces by deleting first, refuses to create what exists, and deletes with
`api-version` and nothing else. It reaches Local Azure by HTTPS, with the variables of `python -m localazure env`, and
refuses to run where they do not lead to this machine.

    table     what each resource type is on the wire (data)     types.json  what the SDK says of it (generated)
    shapes    both, joined                                      generate    makes types.json
    check     inputs: defaults and failures                     convert     SDK's shape to ARM's and back
    diff      what changed, what it replaces, drift             arm         HTTP, long operations
    lifecycle create, read, update, delete, functions           provider    the gRPC service; server runs it
    install   puts it where the CLI finds it                    schema      what `pulumi import` asks for
"""
