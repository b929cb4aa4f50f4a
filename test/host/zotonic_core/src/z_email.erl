%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_email).

-export([send_admin/3, send/4]).

-spec send_admin(iodata(), iodata(), z:context()) -> ok | {error, no_recipient}.
send_admin(Subject, Text, _Context) ->
    host:tell({mail, admin, Subject, Text}).

-spec send(binary(), iodata(), iodata(), z:context()) -> {ok, binary()} | {error, term()}.
send(To, Subject, Text, _Context) ->
    ok = host:tell({mail, To, Subject, Text}),
    {ok, <<"1">>}.
