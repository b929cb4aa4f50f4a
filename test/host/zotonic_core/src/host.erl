%% @doc Of the stand-in only: what a test says of the site, and what the site said to the world.
-module(host).

-export([set/2, get/2, reset/0, listen/0, tell/1]).

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
