%% @doc A stand-in for the module of the same name in Zotonic. What a page is told, a test hears.
-module(z_render).

-export([growl/2, growl_error/2, wire/2, update/3, make_postback/6]).

-spec growl(iodata(), z:context()) -> z:context().
growl(Text, Context) ->
    ok = host:tell({growl, Text}),
    Context.

-spec growl_error(iodata(), z:context()) -> z:context().
growl_error(Text, Context) ->
    ok = host:tell({growl_error, Text}),
    Context.

-spec wire(tuple() | [tuple()], z:context()) -> z:context().
wire(Action, Context) ->
    ok = host:tell({wire, Action}),
    Context.

-spec update(iodata(), iodata(), z:context()) -> z:context().
update(Id, _Html, Context) ->
    ok = host:tell({update, Id}),
    Context.

-spec make_postback(term(), term(), term(), term(), atom(), z:context()) -> {iodata(), term()}.
make_postback(Message, _Type, _Trigger, _Target, Delegate, _Context) ->
    {["postback ", atom_to_list(Delegate)], Message}.
