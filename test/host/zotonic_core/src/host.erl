%% @doc Of the stand-in only: what a test says of the site, and what the site said to the world.
-module(host).

-export([context/2, user/2, query/2]).
-export([set/2, get/2, reset/0, listen/0, tell/1]).

-include("../include/zotonic.hrl").

%% @doc A site with its files in a folder, and the administrator. Tests make contexts with these functions:
%% where they are compiled in a real Zotonic, a context has other fields.
-spec context(atom(), file:filename_all()) -> z:context().
context(Site, Dir) ->
    #context{site = Site, files_dir = Dir, acl = admin}.

%% @doc The same as somebody who may use these modules, or as `admin'.
-spec user(admin | [atom()], z:context()) -> z:context().
user(Acl, Context) ->
    Context#context{acl = Acl}.

%% @doc The same in a request with these arguments.
-spec query([{binary(), term()}], z:context()) -> z:context().
query(Query, Context) ->
    Context#context{q = Query}.

%% @doc Says something of the site.
-spec set(term(), term()) -> ok.
set(Key, Value) ->
    persistent_term:put({?MODULE, Key}, Value).

-spec get(term(), term()) -> term().
get(Key, Default) ->
    persistent_term:get({?MODULE, Key}, Default).

%% @doc Forgets all that was said.
-spec reset() -> ok.
reset() ->
    _ = [persistent_term:erase(Key) || {{?MODULE, _} = Key, _} <- persistent_term:get()],
    ok.

%% @doc The calling process gets what the site says to the world as `{host, What}'.
-spec listen() -> ok.
listen() ->
    set(listener, self()).

-spec tell(term()) -> ok.
tell(What) ->
    case get(listener, undefined) of
        undefined -> ok;
        Pid -> Pid ! {host, What}, ok
    end.
